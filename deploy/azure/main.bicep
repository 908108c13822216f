// The Azure side of Standby: two resources, the vault, a key vault, and the identity of the workers.
@description('Name of the resource in use; unique in Azure.')
param primaryName string
param primaryLocation string

@description('Name of the resource that stands by; unique in Azure.')
param standbyName string
param standbyLocation string

@description('Name of the storage account of the vault, unique in Azure.')
param vaultName string

@description('Region of the vault, the key vault and the identity: neither of the two above.')
param vaultLocation string

param keyVaultName string

@description('Models to deploy in both regions, each with name, version, sku and capacity.')
param models array

@description('OIDC issuer of the Kubernetes cluster that runs the workers; empty where a virtual machine does.')
param oidcIssuer string = ''

var storageBlobDataContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
var keyVaultSecretsUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')

resource worker 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'standby-worker'
  location: vaultLocation
}

resource workload 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = if (!empty(oidcIssuer)) {
  parent: worker
  name: 'kubernetes'
  properties: {
    issuer: oidcIssuer
    subject: 'system:serviceaccount:standby:standby'
    audiences: [
      'api://AzureADTokenExchange'
    ]
  }
}

module primary 'resource.bicep' = {
  name: 'primary'
  params: {
    name: primaryName
    location: primaryLocation
    models: models
    principalId: worker.properties.principalId
  }
}

module standby 'resource.bicep' = {
  name: 'standby'
  params: {
    name: standbyName
    location: standbyLocation
    models: models
    principalId: worker.properties.principalId
  }
}

resource vault 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: vaultName
  location: vaultLocation
  kind: 'StorageV2'
  sku: {
    name: 'Standard_GZRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: vault
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: {
      enabled: true
      days: 30
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 30
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'vault'
}

resource writesVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, worker.id, storageBlobDataContributor)
  scope: vault
  properties: {
    roleDefinitionId: storageBlobDataContributor
    principalId: worker.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource keys 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: keyVaultName
  location: vaultLocation
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
  }
}

resource readsKeys 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(keys.id, worker.id, keyVaultSecretsUser)
  scope: keys
  properties: {
    roleDefinitionId: keyVaultSecretsUser
    principalId: worker.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

// What standby init and standby.yaml ask for.
output subscriptionId string = subscription().subscriptionId
output resourceNames array = [primary.outputs.name, standby.outputs.name]
output resourceIds array = [primary.outputs.resourceId, standby.outputs.resourceId]
output endpoints array = [primary.outputs.endpoint, standby.outputs.endpoint]
output vaultUrl string = 'az://${container.name}/standby'
output vaultEndpoint string = 'https://${vault.name}.blob.core.windows.net'
output keyVaultName string = keys.name
output workerClientId string = worker.properties.clientId
