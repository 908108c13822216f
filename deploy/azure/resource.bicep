// One AI Services resource with its model deployments, and who may use it.
param name string
param location string
param models array
param principalId string

@description('Needed for Entra tokens: the resource gets an endpoint of its own name.')
param customSubdomain string = name

var cognitiveServicesUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'a97b65f3-24c7-4388-baec-2e87135dc908')
var reader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'acdd72a7-3385-48ef-bd42-f606fba81ae7')

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: name
  location: location
  kind: 'AIServices'
  sku: {
    name: 'S0'
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    customSubDomainName: customSubdomain
    disableLocalAuth: true
    publicNetworkAccess: 'Enabled'
  }
}

// One after the other: a resource takes one change of its deployments at a time.
@batchSize(1)
resource deployments 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = [for model in models: {
  parent: account
  name: model.name
  sku: {
    name: model.sku
    capacity: model.capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: model.name
      version: model.version
    }
  }
}]

resource usesService 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, cognitiveServicesUser)
  scope: account
  properties: {
    roleDefinitionId: cognitiveServicesUser
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource readsDeployments 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, reader)
  scope: account
  properties: {
    roleDefinitionId: reader
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output name string = account.name
output resourceId string = account.id
output endpoint string = 'https://${customSubdomain}.services.ai.azure.com'
